"""The completion scripts themselves: plain text with all words in it, so that no Python starts while somebody types."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Known(NamedTuple):
    """What can be completed."""

    flags: Mapping[str, Sequence[str]]  # command -> its flags; those that take a value end with =
    values: Mapping[str, Sequence[str]]  # flag -> what can follow its `=`
    settings: Mapping[str, Sequence[str]]  # setting -> its values; () where they cannot be listed
    topics: Sequence[str]  # what can follow `list`
    shells: Sequence[str]  # what can follow `completion`


BASH = """# Completion of the command tandem in bash; made by `tandem completion bash`.
_tandem() {{
    local line=${{COMP_LINE:0:COMP_POINT}} word= command= key= with= words=() i
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] || word=${{words[-1]}}
    for ((i = 1; i < ${{#words[@]}} - (${{#word}} > 0); i++)); do
        case "${{words[i]}}" in
            with) with=1 ;;
            -*) ;;
            *) [[ $command || $with ]] || command=${{words[i]}} ;;
        esac
    done
    local flags= values=
    case "${{command:-train}}" in
{flags}
    esac
    if [[ $word == *=* ]]; then
        key=${{word%%=*}}
        case "$key" in
{values}
        esac
        if [[ ! $values && $key == --* ]]; then compopt -o default; fi
        COMPREPLY=($(compgen -W "$values" -- "${{word#*=}}"))
        [[ $COMP_WORDBREAKS == *=* ]] || COMPREPLY=("${{COMPREPLY[@]/#/$key=}}")
        return
    fi
    compopt -o nospace
    if [[ $with ]]; then
        COMPREPLY=($(compgen -S = -W "{settings}" -- "$word"))
    elif [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W "$flags" -- "$word"))
        [[ ${{COMPREPLY[*]}} == *= ]] || compopt +o nospace
    else
        compopt +o nospace
        [[ $command ]] && values="with" || values="with {commands}"
        case "$command" in
            list) values="{topics}" ;;
            completion) values="{shells}" ;;
            compare | ablation) compopt -o default ;;
        esac
        COMPREPLY=($(compgen -W "$values" -- "$word"))
    fi
}}
complete -F _tandem tandem
"""

ZSH = """#compdef tandem
# Completion of the command tandem in zsh; made by `tandem completion zsh`.
_tandem() {{
    local -A flags values
    local -a candidates
    local command= with= key word
    flags=(
{flags}
    )
    values=(
{values}
    )
    for word in ${{words[2,CURRENT-1]}}; do
        case $word in
            with) with=1 ;;
            -*) ;;
            *) [[ -n $command || -n $with ]] || command=$word ;;
        esac
    done
    if [[ $PREFIX == *=* ]]; then
        key=${{PREFIX%%=*}}
        compset -P '*='
        candidates=(${{=values[$key]}})
        if (( $#candidates )); then compadd -a candidates; elif [[ $key == --* ]]; then _files; fi
    elif [[ -n $with ]]; then
        candidates=({settings})
        compadd -S = -a candidates
    elif [[ $PREFIX == -* ]]; then
        candidates=(${{=flags[${{command:-train}}]}})
        compadd -S '' -- ${{(M)candidates:#*=}}
        compadd -- ${{candidates:#*=}}
    else
        candidates=(with)
        case $command in
            '') candidates+=({commands}) ;;
            list) candidates=({topics}) ;;
            completion) candidates=({shells}) ;;
            compare|ablation) _files ;;
        esac
        compadd -a candidates
    fi
}}
if [ "$funcstack[1]" = "_tandem" ]; then _tandem "$@"; else compdef _tandem tandem; fi
"""

FISH = """# Completion of the command tandem in fish; made by `tandem completion fish`.
function __tandem_command
    for word in (commandline -opc)[2..]
        switch $word
            case with '-*'
            case '*'
                echo $word
                return
        end
    end
    echo train
end
function __tandem_plain
    not contains with (commandline -opc)
end
function __tandem_first
    __tandem_plain; and test (count (string match -v -- '-*' (commandline -opc))) -eq 1
end
complete -c tandem -f
complete -c tandem -n __tandem_first -a '{commands}'
complete -c tandem -n __tandem_plain -a with
complete -c tandem -n 'test (__tandem_command) = list' -a '{topics}'
complete -c tandem -n 'test (__tandem_command) = completion' -a '{shells}'
complete -c tandem -n 'contains (__tandem_command) compare ablation' -F
{flags}
{settings}
"""


def bash(known: Known) -> str:
    """Return the script for bash."""
    return BASH.format(
        flags=_cases({name: " ".join(own) for name, own in known.flags.items()}, "flags"),
        values=_cases({key: " ".join(values) for key, values in _listed(known).items()}, "values"),
        **_words(known),
    )


def zsh(known: Known) -> str:
    """Return the script for zsh."""
    return ZSH.format(
        flags="\n".join(f"        {name} '{' '.join(own)}'" for name, own in known.flags.items()),
        values="\n".join(f"        {key} '{' '.join(values)}'" for key, values in _listed(known).items()),
        **_words(known),
    )


def fish(known: Known) -> str:
    """Return the script for fish."""
    by_flag: dict[str, list[str]] = {}
    for command, own in known.flags.items():
        for flag in own:
            by_flag.setdefault(flag, []).append(command)
    flags = []
    for flag, commands in by_flag.items():
        name = flag.removesuffix("=")
        values = f" -a '{' '.join(known.values[name])}'" if name in known.values else ""
        takes = " -x" if name in known.values else " -r" if flag.endswith("=") else ""
        condition = f"__tandem_plain; and contains (__tandem_command) {' '.join(commands)}"
        flags.append(f"complete -c tandem -n '{condition}' -l {name.removeprefix('--')}{takes}{values}")
    settings = []
    for key, choices in known.settings.items():
        words = " ".join(f"{key}={value}" for value in choices) or f"{key}="
        settings.append(f"complete -c tandem -n 'contains with (commandline -opc)' -a '{words}'")
    return FISH.format(**_words(known) | {"flags": "\n".join(flags), "settings": "\n".join(settings)})


def _words(known: Known) -> dict[str, str]:
    lists = {"commands": known.flags, "settings": known.settings, "topics": known.topics, "shells": known.shells}
    return {name: " ".join(words) for name, words in lists.items()}


def _listed(known: Known) -> dict[str, Sequence[str]]:
    """Return flags and settings whose values can be listed."""
    return {key: values for key, values in {**known.values, **known.settings}.items() if values}


def _cases(words: Mapping[str, str], variable: str) -> str:
    """Return the lines of a `case` that puts words into a variable."""
    return "\n".join(f"            {key}) {variable}='{text}' ;;" for key, text in words.items())
