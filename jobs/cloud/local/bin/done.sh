#!/bin/sh
# What a server's first boot does, the local cloud has done when it made the server.

[ "$1" != status ] || echo "status: done"
