"""The report, part by part; ``tests.integration.test_report`` has the whole command."""
