"""Reconcile: the files whose hooks Aruna lost are found and become jobs like any other.

``account`` asks Aruna on behalf of an operator; ``coverage`` knows our hooks, ``walking`` goes
through their projects, ``judging`` says what was forgotten, ``payload`` makes the missing delivery,
``finding`` puts these together. ``command`` runs it for an operator, ``periodic`` by itself.
"""

from pipeline.reconcile.command import add_arguments, run
from pipeline.reconcile.periodic import Reconciler

__all__ = ["Reconciler", "add_arguments", "run"]
