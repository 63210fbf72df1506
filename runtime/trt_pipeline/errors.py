"""The errors of this project, one tree.

    TrtPipelineError
    ├── InvalidInputError            an argument of a call or a command (also a ValueError)
    ├── UnknownArgumentError         a keyword that a call does not know (also a TypeError)
    ├── GenerationCancelledError     a call that was asked to stop
    ├── BundleError                  a folder that cannot be used as a bundle
    │   ├── BundleVersionError       written by another format version
    │   └── IntegrityError           a file missing, of another size or another hash
    ├── CheckpointError              a checkpoint that cannot be exported
    ├── ParityError                  an exported graph disagrees with PyTorch
    ├── EngineBuildError             TensorRT cannot build an engine from a graph
    └── BackendError                 the engine that runs the graphs failed
        ├── EngineMismatchError      no engine of the bundle is for this machine
        ├── DeviceMemoryError        the GPU is out of memory
        ├── DeviceUnavailableError   no GPU, one that is refused, or one that was lost
        └── MissingDependencyError   an optional package is not installed

Every message says what was wrong, what was expected and what to do.
"""


class TrtPipelineError(Exception):
    """Base of everything this project raises on purpose."""

    exit_status = 1
    """What a command that ends with this error returns to the shell."""


class InvalidInputError(TrtPipelineError, ValueError):
    """An argument is outside what is allowed."""

    exit_status = 2


class UnknownArgumentError(TrtPipelineError, TypeError):
    """A call was given a keyword that it does not know."""

    exit_status = 2


class GenerationCancelledError(TrtPipelineError):
    """The call's cancel token was set."""

    exit_status = 130


class BundleError(TrtPipelineError):
    """The folder is not a bundle, or its manifest does not follow the format."""

    exit_status = 2


class BundleVersionError(BundleError):
    """The bundle was written by another version of the format."""


class IntegrityError(BundleError):
    """A file of the bundle is missing, or is not the one its manifest describes."""


class CheckpointError(TrtPipelineError):
    """The checkpoint is missing, damaged, unsafe or of a kind that is not supported."""

    exit_status = 2


class ParityError(TrtPipelineError):
    """An exported graph gives another result than the PyTorch module it came from."""


class EngineBuildError(TrtPipelineError):
    """TensorRT rejects a graph, or cannot build an engine from it."""


class BackendError(TrtPipelineError):
    """A backend could not load or run a graph."""


class EngineMismatchError(BackendError):
    """No engine of the bundle was built for this TensorRT, GPU and platform."""


class DeviceMemoryError(BackendError):
    """The GPU has too little free memory."""


class DeviceUnavailableError(BackendError):
    """There is no GPU, or it or its driver is refused, or it was lost."""


class MissingDependencyError(BackendError):
    """A package that this call needs is not installed."""
