from tests.support.fake_engines import engines as engines
from tests.support.fake_engines import pixel_engines as pixel_engines
