"""A matrix of benchmark jobs, carried out on this machine or by the workers of a Dask cluster."""
