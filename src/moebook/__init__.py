"""moebook: how sparse should a mixture-of-experts language model be, for a given budget?"""

__version__ = "0.1.0"
