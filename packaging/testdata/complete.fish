# SPDX-License-Identifier: GPL-3.0-or-later
#
# Prints what fish proposes: the first argument has the completions, the second is
# the line up to the cursor.
source $argv[1]
complete --do-complete $argv[2] | cut -f 1
