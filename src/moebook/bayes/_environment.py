"""Import this before PyTensor: nothing here needs a C compiler, and no lock is shared between processes."""

import os
import sys
import warnings

if "pytensor" not in sys.modules:
    # Numba compiles the log-density; without a C compiler PyTensor keeps no compile lock either.
    flags = os.environ.get("PYTENSOR_FLAGS", "")
    if "cxx" not in flags:
        os.environ["PYTENSOR_FLAGS"] = f"{flags},cxx=".lstrip(",")
warnings.filterwarnings("ignore", message="\nArviZ is undergoing", category=FutureWarning)
