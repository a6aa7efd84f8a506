"""Scans from whatever files an export holds: headers checked first, then pixels; a reason for each refusal."""
