"""``python -m reprostore_cli`` is `repro`."""

from reprostore_cli.main import main

main()
