"""The machine: its facts, sensors and energy meters, and the doctor's judgement.

In: nothing but the system. Out: facts and readings as plain data; capabilities with a reason each.
``system`` reads the processor, its memory and its disk; ``gpu_sensors`` asks NVML, ``driver`` the driver;
``environment`` and ``facts`` put them together for a result and for the doctor.
Imports: ``bench.stats`` and ``export``.
"""
