"""A matrix of benchmark jobs, done on this machine or by the workers of a Dask cluster.

In: a matrix file (``matrix``) with models, precisions, runtimes and devices. ``plan`` exports the models and expands
the matrix to jobs (``spec``): one model on one device.
Out: the run's folder, with the record ``fleet.json`` (``record``) and one result folder for each job.

``client`` keeps the record (``run``) and does the jobs here or through ``cluster_run``, a thin layer over Dask.
``device`` is the side that measures: it starts a process for each job (``child``, ``job``), under a deadline.
May import every package of ``bench`` except ``report``; ``distributed`` is imported only for a scheduler.
"""
