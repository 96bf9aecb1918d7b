"""Data protection: locate, export and erase the data of one customer.

Customers may ask for a copy of their data or for its erasure. Both work on the files of an installation, outside the running
service. data_locator.py: which names, records and rows belong to a customer. export.py: writes them to a zip. erasure.py: removes
them from the data directory of a stopped service (reactor/store/erasure.py: from the store).
"""
