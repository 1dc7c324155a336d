"""A command that takes from [tool.mbbench] of the nearest pyproject.toml what was not typed, and says what it took."""

from typing import Any

from typer.core import TyperCommand

from mbbench import pyproject
from mbbench.terminal import screen


class Configured(TyperCommand):
    """A command that takes from [tool.mbbench] what was not typed."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read what was typed, then the table."""
        if set(args) & set(ctx.help_option_names):  # help is shown whatever the file says
            return super().parse_args(ctx, args)
        file, values = pyproject.settings()
        names = {key: param.name for param in self.params if (key := _key(param)) in values}
        ctx.default_map = {str(name): values[key] for key, name in names.items()}
        rest = super().parse_args(ctx, args)
        # By its name: which class it is of depends on the version of typer.
        taken = [key for key, name in names.items() if ctx.get_parameter_source(name).name == "DEFAULT_MAP"]
        if taken:
            screen.print(f"from [tool.mbbench] in {file}: {', '.join(taken)}", markup=False, soft_wrap=True)
        return rest


def _key(param: Any) -> str:
    return str(max(param.opts, key=len)).lstrip("-")
