"""Reconcile: files whose hooks Aruna lost are found and become jobs like any other.

``hooks`` knows which hooks are this service's, ``walk`` goes through their projects, ``lost`` says
which objects wait for nobody, ``search`` puts these together and queues the jobs. ``run`` is the
state of one run, and the lease that lets one run at a time; ``periodic`` runs it by itself.
"""
