"""Words on the command line: each is honoured or refused, none is dropped or taken for another."""

import pytest

from tandem.config import commandline
from tandem.config.commandline import UsageError

COMMANDS = ("train", "rerun", "list", "help", "print_config")


def parse(text: str) -> commandline.Request:
    request = commandline.parse(text.split(), COMMANDS)
    commandline.check_flags(request)
    return request


def meant(request: commandline.Request) -> dict:
    return {update.key: update.value for update in request.updates}


@pytest.mark.parametrize(
    "text",
    [
        "with seed=1 -l WARNING discount=0.9",
        "-l WARNING with seed=1 discount=0.9",
        "with seed=1 discount=0.9 --loglevel=WARNING",
    ],
)
def test_settings_may_stand_on_both_sides_of_a_flag(text):
    request = parse(text)
    assert meant(request) == {"seed": 1, "discount": 0.9} and request.options == {"--loglevel": "WARNING"}


def test_a_mistake_behind_a_flag_is_seen_too():
    assert [update.key for update in parse("with seed=1 -u discuont=0.9").updates] == ["seed", "discuont"]


@pytest.mark.parametrize(
    "text, said",
    [
        ("-config=mappo", "'-config'; did you mean --config?"),
        ("-cfg=mappo", "'-cfg'"),
        ("-comment", "'-comment'; did you mean --comment?"),
        ("--confg=mappo", "did you mean --config?"),
        ("with -max_minutes=1", "'-max_minutes'; a setting has no dash: with max_minutes=VALUE"),
        ("with --seed=1", "a setting has no dash: with seed=VALUE"),
        ("with seed=1 -- discount=1", "cannot read '--'"),
        ("train --checkpoint=600", "--checkpoint: 'train' does not take it"),
        ("train --run=3", "--run: 'train' does not take it"),
        ("train --resume=1 --run=2", "--run: 'train' does not take it"),
        ("rerun --run=3 --checkpoint=600", "--checkpoint: 'rerun' does not take it"),
        ("rerun --run=3 --resume=4", "--resume: 'rerun' does not take it"),
        ("print_config --resume=3", "--resume: 'print_config' does not take it"),
        ("list --config=mappo", "--config: 'list' does not take it"),
        ("list with seed=1", "seed: 'list' does not take it"),
        ("list -u", "--unobserved: 'list' does not take it"),
        ("train seed=1", "cannot read 'seed=1' after 'train'; settings come after `with`"),
        ("seed=1", "settings come after `with`: with seed=1"),
        ("help me", "cannot read 'me'"),
        ("--config=a --config=b", "--config is given twice"),
        ("-l INFO --loglevel=DEBUG", "--loglevel is given twice"),
        ("-l LOUD", "-l 'LOUD': expected one of DEBUG"),
        ("-l 51", "a number from 0 to 50"),
        ("-l ²", "a number from 0 to 50"),
        ("-uD", "cannot read '-uD'"),
        ("-u=1", "cannot read '-u'"),
        ("-i 7", "cannot read '-i'"),
        ("-q", "cannot read '-q'"),
        ("-c", "--comment needs a text"),
        ("-F with seed=1", "--file_storage needs a folder"),
    ],
)
def test_a_word_that_means_nothing_where_it_stands_is_refused(text, said):
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert said in str(caught.value), str(caught.value)


def test_of_a_setting_that_is_given_twice_the_last_counts_wherever_it_is_read():
    from tandem.commands.flags import results_dir

    request = parse("with results_dir=a seed=1 results_dir=b seed=2")
    assert meant(request) == {"results_dir": "b", "seed": 2} and results_dir(request.updates) == "b"
    assert results_dir(parse("with results_dir='q'").updates) == "q"  # as the configuration reads it


def test_a_comment_and_a_short_flag_with_its_value_attached_are_taken():
    request = parse("-lINFO -c a=b with seed=1")
    assert request.options == {"--loglevel": "INFO", "--comment": "a=b"}
