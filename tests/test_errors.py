import inspect

from vmkit import errors
from vmkit.errors import ExitCode, VmkitError


def every_error():
    return [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, VmkitError)]


def test_the_tree_in_the_docstring_names_every_error():
    drawn = errors.__doc__ or ""
    assert [
        kind.__name__
        for kind in every_error()
        if kind is not errors.PositionedError and kind.__name__ not in drawn
    ] == []


def test_every_code_is_its_own():
    codes = [kind.code for kind in every_error() if kind is not errors.PositionedError]
    assert len(codes) == len(set(codes))


def test_exit_codes_follow_the_branch():
    branches = {
        errors.InputError: ExitCode.INPUT,
        errors.ClusterError: ExitCode.CLUSTER,
        errors.DeadlineExceeded: ExitCode.TIMEOUT,
        errors.Refused: ExitCode.REFUSED,
        errors.EvidenceError: ExitCode.EVIDENCE,
        errors.Interrupted: ExitCode.INTERRUPTED,
    }
    for kind in every_error():
        if kind is VmkitError:
            continue
        [branch] = [base for base in branches if issubclass(kind, base)]
        assert kind.exit_code is branches[branch], kind


def test_an_error_becomes_a_document_with_only_what_it_knows():
    assert VmkitError("it broke").to_dict() == {"code": "Error", "message": "it broke"}
    assert errors.TemplateError("bad", hint="mend it", where="a.yaml", line=3, column=7).to_dict() == {
        "code": "InvalidTemplate",
        "message": "bad",
        "hint": "mend it",
        "where": "a.yaml",
        "line": 3,
        "column": 7,
    }
    assert errors.Invalid("no", status=422, causes=({"field": "spec", "message": "bad"},)).to_dict() == {
        "code": "Invalid",
        "message": "no",
        "status": 422,
        "causes": [{"field": "spec", "message": "bad"}],
    }
    assert errors.Drifted("differs", diff="-a\n+b\n").to_dict()["diff"] == "-a\n+b\n"
