"""What will be done, why, and what came of it: one set of values for every command.

Reason   a code for programs and a sentence for people
Change   one intended change to one object
Plan     the changes of a run, shown before it acts
Outcome  what happened to one object
Result   what a command returns: outcomes, notices, an exit code; the CLI prints it, scripts read it
"""

from vmkit.plan.model import Change, ObjectRef, Outcome, Plan, Reason, Result, Status

__all__ = ["Change", "ObjectRef", "Outcome", "Plan", "Reason", "Result", "Status"]
