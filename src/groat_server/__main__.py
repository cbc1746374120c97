"""`python -m groat_server` is `groat`."""

from groat_server.cli import main

if __name__ == "__main__":
    main()
