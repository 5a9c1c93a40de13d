"""A directory of this machine that has a twin in an object store (`s3://`, `gs://`).

All other rooms work on the directory, the *copy*. `pull` brings files from the store to the copy,
`push` from the copy to the store. Each module imports only those above it in this list:

address    addresses of object stores, which must hold no credentials
order      the files that both sides have, and the order in which they move
objects    the object store, asked file by file
lease      one driver at a time
copy       `Remote`: the copy, and keeping it up to date
hub        repositories of the Hugging Face hub, which agents and demonstrations are pushed to
"""

from isoclone.remote.address import address_of, name_of
from isoclone.remote.copy import Remote, copies, local, remote_of
from isoclone.remote.objects import PATIENCE_SECONDS
from isoclone.remote.order import CLAIMS

__all__ = [
    "CLAIMS",
    "PATIENCE_SECONDS",
    "Remote",
    "address_of",
    "copies",
    "local",
    "name_of",
    "remote_of",
]
