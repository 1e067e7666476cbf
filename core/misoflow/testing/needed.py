"""What the kit needs beside misoflow, missed with a sentence that says how to get it."""

import importlib.util

for _module in ("pytest", "time_machine", "vcr"):
    if importlib.util.find_spec(_module) is None:
        raise ModuleNotFoundError(
            f"misoflow.testing needs the module {_module!r}: pip install 'misoflow[testing]'", name=_module
        )
