"""Reconcile: the files whose hooks Aruna lost are found and become jobs like any other.

``account`` asks Aruna on behalf of an operator; ``coverage`` knows our hooks, ``walking`` goes
through their projects, ``judging`` says what was forgotten, ``payload`` makes the missing delivery,
``finding`` puts these together. ``periodic`` runs it by itself.
"""
