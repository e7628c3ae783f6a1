"""One frozen `Config` from `dragoman.toml` and the environment, read once.

The environment beats the file, the file beats the defaults. This package is the only place that
looks at `os.environ`, for settings as well as for the secrets that they refer to.
"""

from dragoman.config.load import ENVIRONMENT_PREFIX, load_config
from dragoman.config.models import without_packaged_model
from dragoman.config.secrets import SecretUnavailable, read_bootstrap_key, resolve_secret
from dragoman.config.settings import (
    DEFAULT_MODEL_ID,
    Config,
    ConfigError,
    ConfiguredProvider,
)

__all__ = [
    "DEFAULT_MODEL_ID",
    "ENVIRONMENT_PREFIX",
    "Config",
    "ConfigError",
    "ConfiguredProvider",
    "SecretUnavailable",
    "load_config",
    "read_bootstrap_key",
    "resolve_secret",
    "without_packaged_model",
]
