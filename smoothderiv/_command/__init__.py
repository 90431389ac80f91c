"""What the commands of ``cli.py`` do: one curve, many series, and tables read and written."""
