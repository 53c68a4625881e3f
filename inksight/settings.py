"""All settings of Inksight, one frozen dataclass per verb; the text of each field is its documentation.

`--help`, docs/settings.md and error messages take their words from here. See config.py for how values are layered.
"""

from __future__ import annotations
