"""Detectors behind one protocol: `base.Detector`; `find.make_detector` makes one from its config."""
