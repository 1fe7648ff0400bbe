# SPDX-License-Identifier: GPL-3.0-or-later
#
# Prints what zsh proposes: $1 has the completions, $2 is the line up to the cursor.
# zsh completes only on a terminal: this script types the line into one, then TAB.

if [[ $1 == --on-terminal ]]; then
	proposals=$2 program=$4
	autoload -Uz compinit && compinit -D -u
	functions[_tested]=$(<$3)
	compdef _tested $program
	compadd() { # with these options it proposes nothing
		local -a words
		if (( ! ${@[(I)-[OAD]*]} )); then
			builtin compadd -O words "$@"
			print -rl -- $words >>$proposals
		fi
		builtin compadd "$@"
	}
	tested() {
		_main_complete
		print 'proposed' >/dev/tty
	}
	zle -C tested list-choices tested
	bindkey '^I' tested
	print 'set up'
	return
fi

zmodload zsh/zpty
proposals=$(mktemp)
trap 'rm -f $proposals' EXIT
zpty terminal zsh -f -i
zpty -w terminal "source $0 --on-terminal $proposals $1 ${2%% *}"
zpty -r terminal _ '*set up*'
zpty -w -n terminal $2$'\t'
zpty -r terminal _ '*proposed*'
sort -u $proposals
