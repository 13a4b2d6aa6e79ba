"""What goes over the socket between the service and the process that draws."""

import struct
from typing import Final

HEAD: Final = struct.Struct("<?d")
"""What an answer begins with: whether a picture follows or the traceback of an error, and the seconds of a core that it
took.
"""
