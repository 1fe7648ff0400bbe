# SPDX-License-Identifier: GPL-3.0-or-later
#
# Prints what bash would propose: $1 has the completions, $2 is the line up to the
# cursor. bash calls the function with these variables when TAB is pressed.

# shellcheck source=/dev/null
source "$1"
set -f # words are not patterns
# shellcheck disable=SC2206 # one word each
COMP_WORDS=($2)
[[ $2 != *' ' ]] || COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
"$(complete -p "${COMP_WORDS[0]}" | sed 's/.* -F \([^ ]*\) .*/\1/')"
printf '%s\n' "${COMPREPLY[@]}"
