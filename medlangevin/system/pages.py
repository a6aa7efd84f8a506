"""Pages of HTML from the templates that lie beside the code."""

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


def page_template(package: str, name: str) -> Template:
    """Load a Jinja2 template that escapes what it is given and refuses a name that it was not given.

    Args:
        package: The package, such as ``medlangevin.reports``; its templates lie in its folder ``page``.
        name: The file's name there.

    Returns:
        The template. ``render`` gives the page as text.
    """
    pages = Environment(
        loader=PackageLoader(package, "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return pages.get_template(name)
