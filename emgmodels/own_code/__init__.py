"""Code of the user's own: found, hashed, imported where that is allowed, copied with a run.

A stage, scheduler, sampler or augmentation may stand outside this project. A reference names it:

    my_blocks.py:GatedStage              in a file, by its path from the folder of the space
    package.module:GatedStage            in a module, of that folder or as Python finds it
    my_blocks.py:GatedStage@SHA256       in this very text of the file

Source is read once and executed from memory, so what runs is what was hashed, and a process on
another machine needs no file. A file is a module by itself. A file inside a package brings the
Python files of the whole package.

Naming code does not run it. It is imported where the caller says so (``allow_code``), or where it
lies in the current folder's tree together with the file that names it, and was not fetched.
"""

from emgmodels.own_code.importing import (
    carried,
    codes_of,
    explained,
    install,
    installed,
    is_installed,
    load,
    load_class,
    told,
)
from emgmodels.own_code.permission import (
    FETCHED,
    asks_for_code,
    check_allowed,
    code_allowed,
    is_ours,
    refusal,
    unpack,
)
from emgmodels.own_code.source import (
    FOLDER,
    Code,
    CodeError,
    NotAllowedError,
    Reference,
    find_code,
    read_code,
    write_code,
)

__all__ = [
    "FETCHED",
    "FOLDER",
    "Code",
    "CodeError",
    "NotAllowedError",
    "Reference",
    "asks_for_code",
    "carried",
    "check_allowed",
    "code_allowed",
    "codes_of",
    "explained",
    "find_code",
    "install",
    "installed",
    "is_installed",
    "is_ours",
    "load",
    "load_class",
    "read_code",
    "refusal",
    "told",
    "unpack",
    "write_code",
]
