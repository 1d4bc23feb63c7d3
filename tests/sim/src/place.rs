//! Pods that arrive one by one and are placed on hosts for good.
