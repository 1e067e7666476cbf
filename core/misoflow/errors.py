"""What can go wrong, named after the engine's one decision for it.

    MisoflowError
    ├── Unauthorized   401 to the sender, nothing stored
    ├── Unwanted       answered as if it were taken in, but nothing is stored; counted with its reason
    ├── Reject         this event or record becomes a dead letter, the rest carries on
    ├── Retry          try the same thing again later
    ├── Halt           pause the instance or Miso environment, keep taking in, tell a person
    └── ConfigError    plugins.toml cannot be used as it stands; the process ends with exit code 78

Connectors raise the first five. A message never holds a payload or a secret: it says what happened,
where, and what to do next.
"""


class MisoflowError(Exception):
    """Base of every error that misoflow raises on purpose."""


class Unauthorized(MisoflowError):
    """The delivery does not prove where it comes from: 401, and nothing is stored."""


class Unwanted(MisoflowError):
    """In ``verify``: what comes is well-formed but must not be kept, for want of consent say.

    ``reason`` is a constant text: it is a label of the metrics.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Reject(MisoflowError):
    """This event or record can never be delivered as it is; a retry of the same code cannot help.

    ``path`` is the JSON path inside the event's data, such as ``$.properties.product_id``.
    """

    def __init__(self, reason: str, path: str = "$") -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path


class Retry(MisoflowError):
    """The other side cannot answer now; ``after`` is its wish in seconds, if it stated one.

    ``outcome_unknown``: the request may have had its effect, so only the very same one may be sent again.
    """

    def __init__(
        self, reason: str = "try again later", after: float | None = None, *, outcome_unknown: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after = after
        self.outcome_unknown = outcome_unknown


class Unreachable(Retry):
    """There was no connection at all, so nothing was asked."""


class Halt(MisoflowError):
    """Nothing will work until a person acts; ``fix`` is that next action."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(f"{reason} ({fix})")
        self.reason = reason
        self.fix = fix


class ConfigError(MisoflowError):
    """plugins.toml is wrong at ``where``, a TOML path such as ``instances.web.shared_secret``.

    ``fix`` is the next action where it is another one than to mend that place in the file.
    """

    def __init__(self, where: str, problem: str, fix: str = "") -> None:
        super().__init__(f"{where}: {problem}" + (f"; {fix}" if fix else ""))
        self.where = where
        self.problem = problem
        self.fix = fix
