"""Options: the base of all, layers of keys and values, overrides, YAML, messages.

The options of a stage are one frozen pydantic model beside the stage's code. Where there is a
choice (a saliency method, the format of a dataset), each choice is a model of its own with a
`Literal` field that names it, the discriminator, and a union joins them::

    class GradCam(MethodOptions):
        method: Literal["grad_cam"] = "grad_cam"
        layer: str | None = None

    SaliencyOptions = Annotated[Gradient | GradCam, Field(discriminator="method")]

Keys and values come in layers: defaults, a recipe, the user's file, ``--set``. A layer that makes
another choice drops the options of the earlier choice, and keeps those that all choices share; see
`wsl.config.layers.merge`.
"""
