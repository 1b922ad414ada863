#!/bin/sh
# What a first boot does was done when the machine was made.

[ "$1" != status ] || echo "status: done"
