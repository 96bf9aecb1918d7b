"""Import of historical tables: meter exports, spreadsheets and data sets become replay input lines.

Forecasts start better with a history, and a customer can replay their own before connecting a device.
"""
