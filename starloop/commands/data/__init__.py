"""Commands that read or write data: replay, import, export, log, decode, erase."""
