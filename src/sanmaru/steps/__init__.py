"""Steps that a pipeline can take without a line of Python: collect, check, train, judge, forecast, publish, watch."""
