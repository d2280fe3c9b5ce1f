"""moebook: how sparse should a mixture-of-experts language model be, for a given budget?"""

__version__ = "0.1.0"
#: The day of the table and the posteriors that come with this version; CITATION.cff has the same.
__released__ = "2026-11-22"
