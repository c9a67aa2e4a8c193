"""The formats that captioned collections come in, one file each: a folder -> rows."""
