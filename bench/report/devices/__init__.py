"""Several devices side by side: from a fleet's run or devices' own reports to one page."""
