# shellcheck shell=sh
# Gives drover-root the newer one that is this script's input, behind its signature.

drover_root replace <&3
