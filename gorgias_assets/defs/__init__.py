"""The definitions of this project's own deployment: a folder for each account, and for whatever is built on them."""
