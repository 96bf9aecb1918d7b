"""The pages, one file a room of the console; each is a router of server-rendered HTML."""
