"""From a checkpoint of uncertain origin to a proven ONNX file and an engine.

Read the rooms in the order in which the data passes through them: ``checkpoint`` → ``evidence`` →
``verdict`` → ``network`` → ``deploy`` → ``onnx_graph`` → ``parity`` → ``engine``.
"""
