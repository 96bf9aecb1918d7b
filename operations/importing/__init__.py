"""Tables of history made into readings: what a meter, a spreadsheet or a data set has, as the input lines of a replay."""
