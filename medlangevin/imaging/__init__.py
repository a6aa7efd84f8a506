"""From a hospital's export to aligned crops: ``reading`` its files, ``registration`` of the ears, and the ``cohort``.

Each of the three imports only from those named before it.
"""
