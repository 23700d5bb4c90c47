"""What the verbs of the API do.

call      one request, and its options
reading   body -> typed object: decoding, patches, applied configurations
deletion  DeleteOptions
verbs     create, update, patch, delete: ownership, admission, checks, the store
"""

from vmkit.lab.verbs.call import JSON_PATCH, Call
from vmkit.lab.verbs.verbs import Verbs

__all__ = ["JSON_PATCH", "Call", "Verbs"]
