"""The service's own settings of gunicorn, with gunicorn's own threads and no service."""

import runpy

_OTHERWISE = ("post_worker_init", "worker_exit", "worker_class")

globals().update(
    {
        name: value
        for name, value in runpy.run_path("gunicorn.conf.py").items()
        if not name.startswith("__") and name not in _OTHERWISE
    }
)

worker_class = "gthread"
