"""The pages of the console: one router of server-rendered HTML for each section."""
