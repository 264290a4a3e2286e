"""Which tests are to see a change of which files; those that are fast come first."""

COVERING: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "exact": (
        tuple(f"indexes/{file}.py" for file in ("base", "exact", "quantise", "scan", "score", "shortlist")),
        tuple(f"tests/indexes/test_{name}.py" for name in ("quantise", "score", "exact", "contract")),
    ),
    "approximate": (
        ("indexes/approximate.py",),
        ("tests/indexes/test_approximate.py", "tests/indexes/test_contract.py"),
    ),
    "codes": (("codes.py", "halves.py"), ("tests/test_halves.py", "tests/test_codes.py")),
    "calibration": (("calibration.py",), ("tests/test_calibration.py",)),
    "adapt": (("adapt.py",), ("tests/test_adapt.py",)),
    "fit": (("fit.py",), ("tests/test_fit.py",)),
    "graph": (("graph.py",), ("tests/test_graph.py",)),
    "scope": (("scope.py",), ("tests/test_scope.py", "tests/test_searcher.py")),
    "query": (("query.py",), ("tests/test_query.py", "tests/test_searcher.py")),
    "searcher": (("searcher.py",), ("tests/test_searcher.py", "tests/test_query.py")),
    "membership": (("membership.py", "stamp.py"), ("tests/test_stamp.py", "tests/test_membership.py")),
    "rerank": (("rerank.py",), ("tests/test_rerank.py",)),
    "metrics": (("metrics.py",), ("tests/test_metrics.py",)),
    "evaluation": (
        ("evaluation.py", "truth.py", "comparison.py"),
        ("tests/test_truth.py", "tests/test_evaluation.py", "tests/test_comparison.py"),
    ),
    "labels": (("labels.py",), ("tests/test_labels.py", "tests/test_cli_labels.py")),
    "store": (
        ("store.py", "catalogue.py", "schema.py", "changes.py", "disk.py"),
        (
            "tests/test_store.py",
            "tests/test_changes_seen.py",
            "tests/test_origin.py",
            "tests/test_owned.py",
            "tests/test_stateful.py",
            "tests/test_check.py",
        ),
    ),
    "connection": (("connection.py",), ("tests/test_connection.py", "tests/test_threads.py")),
    "owned": (("owned.py", "origin.py"), ("tests/test_origin.py", "tests/test_owned.py")),
    "backup": (("backup.py", "removal.py"), ("tests/test_backup.py",)),
    "cache": (("cache.py",), ("tests/test_cache.py",)),
    "memory": (("memory.py",), ("tests/test_memory.py",)),
    "folder": (
        ("exclusion.py", "suffixes.py", "files.py"),
        ("tests/test_exclusion.py", "tests/test_suffixes.py", "tests/test_files.py"),
    ),
    "images": (
        ("images.py", "limits.py", "extent.py", "reading.py", "tiles.py"),
        (
            "tests/test_extent.py",
            "tests/test_images.py",
            "tests/test_reading.py",
            "tests/test_corpus.py",
        ),
    ),
    "pixels": (
        ("rgb.py", "deep.py", "colour.py", "frames.py", "endings.py", "kinds.py"),
        tuple(f"tests/test_{name}.py" for name in ("rgb", "deep", "colour", "kinds", "frames", "endings", "images")),
    ),
    "original": (("original.py",), ("tests/web/test_originals.py",)),
    "access": (("web/access.py",), ("tests/web/test_access.py",)),
}
"""Part -> files below src/congener, and tests."""

AMOUNTS = {
    "indexes/exact.py": {"_FEW", "_SMALL", "_SHARE"},
    "indexes/quantise.py": {"_BLOCK"},
    "indexes/scan.py": {"_FIRST", "_SCAN", "_PART", "_PRODUCT", "_RANKED"},
    "indexes/shortlist.py": {"_NUMBERS", "_MULTIPLIED", "_CROWD"},
    "indexes/approximate.py": {"_STEP"},
    "codes.py": {"_ROWS"},
    "rerank.py": {"_BLOCK"},
    "metrics.py": {"_BLOCK"},
    "evaluation.py": {"_BLOCK"},
    "store.py": {"_BLOCK"},
    "catalogue.py": {"_BLOCK", "_ASKED"},
    "backup.py": {"_BLOCK"},
    "original.py": {"_REMEMBERED"},
    "tiles.py": {"SIDE"},
}
"""File -> numbers that say how much is done at once, or remembered: the answer is the same whatever they are."""
